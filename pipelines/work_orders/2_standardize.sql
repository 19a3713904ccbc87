-- 统一格式：号码、时间、区划、数字、是否。每个统一过的列旁边都留原文（*_raw），读不懂的就只有原文。
SELECT
    app_id,
    half_width(order_no)                                 AS order_no,
    half_width(order_no_upper)                           AS order_no_upper,
    half_width(parent_order_no)                          AS parent_order_no,
    appellant_name,
    appellant_type,
    appellant_gender,
    coalesce(id_card(appellant_cert_no),
             credit_code(appellant_cert_no))             AS appellant_cert_no,
    appellant_cert_no                                    AS appellant_cert_no_raw,
    phone(contact_phone)                                 AS contact_phone,
    phone_ext(contact_phone)                             AS contact_phone_ext,
    contact_phone                                        AS contact_phone_raw,
    phone(caller_no)                                     AS caller_no,
    caller_no                                            AS caller_no_raw,
    CASE
        WHEN is_secret IS NULL    THEN false             -- 来源未给：不保密
        WHEN is_secret = '保密'   THEN true
        WHEN is_secret = '不保密' THEN false
        ELSE coalesce(flag_yes(is_secret), true)         -- 写法不明：宁可保密
    END                                                  AS is_secret,
    is_secret                                            AS is_secret_raw,
    local_time(appeal_time)                              AS appeal_time,
    appeal_time                                          AS appeal_time_raw,
    appeal_type,
    channel,
    title,
    content,
    keyword_class('content_class', title, content)       AS by_rule,  -- 关键词规则怎么分，归类时要先知道
    occur_address,
    division(region)                                     AS region_code,
    region                                               AS region_raw,
    try_cast(half_width(lng) AS double)                  AS lng,
    lng                                                  AS lng_raw,
    try_cast(half_width(lat) AS double)                  AS lat,
    lat                                                  AS lat_raw,
    crs,
    urgency,
    subject,
    status,
    handling_mode,
    org_name,
    due_time(deadline)                                   AS deadline,  -- 只给日期的，到当日最后一秒
    deadline                                             AS deadline_raw,
    local_time(finish_time)                              AS finish_time,
    finish_time                                          AS finish_time_raw,
    reply_content,
    is_solved,
    satisfaction_final,
    call_id,
    CASE
        WHEN update_time IS NULL
        THEN coalesce(_timestamp, local_time(appeal_time)) -- 来源未给：取消息时间
        ELSE local_time(update_time)
    END                                                  AS update_time,
    update_time                                          AS update_time_raw,
    CASE
        WHEN del_flag IS NULL THEN false                 -- 来源未给：未删除
        ELSE flag_yes(del_flag)
    END                                                  AS del_flag,
    del_flag                                             AS del_flag_raw
FROM clean
