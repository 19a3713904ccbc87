-- 成稿：拆开内容分类，加上公开用的脱敏列（保密工单没有），列的次序同契约。
SELECT
    app_id,
    order_no,
    order_no_upper,
    parent_order_no,
    appellant_name,
    CASE WHEN is_secret THEN NULL ELSE mask_name(appellant_name) END AS appellant_name_masked,
    appellant_type,
    appellant_type_raw,
    appellant_gender,
    appellant_gender_raw,
    appellant_cert_no,
    appellant_cert_no_raw,
    contact_phone,
    contact_phone_ext,
    contact_phone_raw,
    CASE WHEN is_secret THEN NULL ELSE mask_phone(contact_phone) END AS contact_phone_masked,
    caller_no,
    caller_no_raw,
    is_secret,
    is_secret_raw,
    appeal_time,
    appeal_time_raw,
    appeal_type,
    appeal_type_raw,
    title,
    content,
    CASE WHEN is_secret THEN NULL ELSE mask_text(content, appellant_name) END AS content_masked,
    channel,
    channel_raw,
    urgency,
    urgency_raw,
    region_code,
    region_name,
    region_raw,
    occur_address,
    lng,
    lng_raw,
    lat,
    lat_raw,
    crs,
    CASE
        WHEN class_source = 'rule'  THEN by_rule['l1']
        WHEN class_source = 'model' THEN by_model['class']
    END                                                              AS subject_l1,
    CASE
        WHEN class_source IS NULL                                        THEN NULL
        WHEN class_source = 'rule' OR by_rule['l1'] = by_model['class'] THEN by_rule['l2']
        ELSE within_model['l2']
    END                                                              AS subject_l2,
    CASE
        WHEN class_source IS NULL                                        THEN NULL
        WHEN class_source = 'rule' OR by_rule['l1'] = by_model['class'] THEN by_rule['l3']
        ELSE within_model['l3']
    END                                                              AS subject_l3,
    CASE
        WHEN class_source IS NULL                                        THEN NULL
        WHEN class_source = 'rule' OR by_rule['l1'] = by_model['class'] THEN by_rule['rule']
        ELSE within_model['rule']
    END                                                              AS class_rule,
    class_source,
    CASE WHEN class_source = 'rule' THEN NULL ELSE by_model['probability'] END AS class_score,
    CASE WHEN class_source = 'rule' THEN NULL ELSE by_model['version'] END     AS class_version,
    subject_raw,
    status,
    status_raw,
    handling_mode,
    handling_mode_raw,
    org_name,
    deadline,
    deadline_raw,
    finish_time,
    finish_time_raw,
    reply_content,
    is_solved,
    is_solved_raw,
    satisfaction_final,
    satisfaction_final_raw,
    call_id,
    update_time,
    update_time_raw,
    del_flag,
    del_flag_raw
FROM decide
