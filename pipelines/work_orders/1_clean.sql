-- 去掉多余空白（制表符、全角空格等）和占位内容（未知、暂无、null、/、- 等）；占位内容等于没有给。given() 两件一起做。
SELECT
    app_id                          AS app_id,
    given(order_no)                 AS order_no,
    given(order_no_upper)           AS order_no_upper,
    given(parent_order_no)          AS parent_order_no,
    person(appellant_name)          AS appellant_name,  -- 不指明人的（匿名、热心市民、先生/女士、只有数字等）也等于没有给
    given(appellant_type)           AS appellant_type,
    given(appellant_gender)         AS appellant_gender,
    given(appellant_cert_no)        AS appellant_cert_no,
    given(contact_phone)            AS contact_phone,
    given(caller_no)                AS caller_no,
    CASE
        WHEN clean_text(is_secret) IN ('保密', '保密。', '保密.') THEN '保密'  -- 在别处是占位内容，在这里是回答
        WHEN lower(clean_text(is_secret)) IN ('无', '空', '暂无', '未填', '未填写', '未提供', '-', '--', '—', '——', '/', 'null', 'none', 'n/a') THEN NULL
        ELSE clean_text(is_secret)  -- 未知、？？ 等不是没有给，是写法不明，下一步按保密处理
    END                             AS is_secret,
    given(appeal_time)              AS appeal_time,
    given(appeal_type)              AS appeal_type,
    given(channel)                  AS channel,
    given(title)                    AS title,
    given(content)                  AS content,
    given(occur_address)            AS occur_address,
    given(region)                   AS region,
    CASE
        WHEN try_cast(half_width(clean_text(lng)) AS double) = 0 THEN clean_text(lng)
        ELSE given(lng)
    END                             AS lng,  -- 0.000000 在别处是占位内容，在这里是没有定位的写法，要标记
    CASE
        WHEN try_cast(half_width(clean_text(lat)) AS double) = 0 THEN clean_text(lat)
        ELSE given(lat)
    END                             AS lat,
    given(crs)                      AS crs,
    given(urgency)                  AS urgency,
    given(subject)                  AS subject,
    given(status)                   AS status,
    given(handling_mode)            AS handling_mode,
    given(org_name)                 AS org_name,
    given(deadline)                 AS deadline,
    given(finish_time)              AS finish_time,
    given(reply_content)            AS reply_content,
    given(is_solved)                AS is_solved,
    given(satisfaction_final)       AS satisfaction_final,
    given(call_id)                  AS call_id,
    given(update_time)              AS update_time,
    given(del_flag)                 AS del_flag
FROM raw
