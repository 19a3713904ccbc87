-- 十个表达式（编号、姓名、电话、两个时间、区划、渠道、类型、标题、内容），二十类关键词；其余字段照原样带走。
SELECT
    half_width(given(order_no))                                 AS order_no,             -- 1
    call_id,
    local_time(appeal_time)                                     AS appeal_time,          -- 2
    given(appellant_name)                                       AS appellant_name,       -- 3
    appellant_gender,
    caller_no,
    phone(contact_phone)                                        AS contact_phone,        -- 4
    appellant_cert_no,
    appellant_type,
    is_secret,
    code('channel', channel)                                    AS channel,              -- 5
    code('appeal_type', given(appeal_type))                     AS appeal_type,          -- 6
    given(appeal_type)                                          AS appeal_type_raw,
    given(title)                                                AS title,                -- 7
    given(content)                                              AS content,              -- 8
    keyword_class('keywords', title, content)['l1']             AS subject_l1,
    division(region)                                            AS region_code,          -- 9
    occur_address,
    coordinates,
    urgency,
    status,
    handling_mode,
    org_name,
    deadline,
    finish_time,
    reply_content,
    is_solved,
    satisfaction_final,
    coalesce(local_time(update_time), _timestamp)               AS update_time,          -- 10
    del_flag
FROM raw
