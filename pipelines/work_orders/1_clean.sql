-- 去掉多余空白（制表符、全角空格等）和占位内容（未知、暂无、null、/、- 等）；占位内容等于没有给。
SELECT
    app_id                                AS app_id,
    given(clean_text(order_no))           AS order_no,
    given(clean_text(order_no_upper))     AS order_no_upper,
    given(clean_text(parent_order_no))    AS parent_order_no,
    CASE
        WHEN clean_text(appellant_name) IN ('匿名', '来电人', '先生', '女士', '市民', '群众') THEN NULL  -- 不指明人
        ELSE given(clean_text(appellant_name))
    END                                   AS appellant_name,
    given(clean_text(appellant_type))     AS appellant_type,
    given(clean_text(appellant_gender))   AS appellant_gender,
    given(clean_text(appellant_cert_no))  AS appellant_cert_no,
    given(clean_text(contact_phone))      AS contact_phone,
    given(clean_text(caller_no))          AS caller_no,
    CASE
        WHEN clean_text(is_secret) = '保密' THEN '保密'  -- 在别处是占位内容，在这里是回答
        ELSE given(clean_text(is_secret))
    END                                   AS is_secret,
    given(clean_text(appeal_time))        AS appeal_time,
    given(clean_text(appeal_type))        AS appeal_type,
    given(clean_text(channel))            AS channel,
    given(clean_text(title))              AS title,
    given(clean_text(content))            AS content,
    given(clean_text(occur_address))      AS occur_address,
    given(clean_text(region))             AS region,
    given(clean_text(lng))                AS lng,
    given(clean_text(lat))                AS lat,
    given(clean_text(crs))                AS crs,
    given(clean_text(urgency))            AS urgency,
    given(clean_text(subject))            AS subject,
    given(clean_text(status))             AS status,
    given(clean_text(handling_mode))      AS handling_mode,
    given(clean_text(org_name))           AS org_name,
    given(clean_text(deadline))           AS deadline,
    given(clean_text(finish_time))        AS finish_time,
    given(clean_text(reply_content))      AS reply_content,
    given(clean_text(is_solved))          AS is_solved,
    given(clean_text(satisfaction_final)) AS satisfaction_final,
    given(clean_text(call_id))            AS call_id,
    given(clean_text(update_time))        AS update_time,
    given(clean_text(del_flag))           AS del_flag
FROM raw
