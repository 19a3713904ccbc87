-- 定分类：规则有把握的听规则，其余听模型，都没有把握的不分（不分比分错好），交人工。门槛由标注数据测得，见 README。
-- 模型只定一级分类；二、三级由规则给出，限于模型定的一级分类之内（within_model）。
SELECT
    app_id,
    order_no,
    order_no_upper,
    parent_order_no,
    appellant_name,
    appellant_type,
    appellant_type_raw,
    appellant_gender,
    appellant_gender_raw,
    appellant_cert_no,
    appellant_cert_no_raw,
    contact_phone,
    contact_phone_ext,
    contact_phone_raw,
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
    by_rule,
    by_model,
    CASE
        WHEN by_rule['lead'] >= 6  THEN 'rule'    -- 规则有把握：实测百分之九十五正确
        WHEN by_rule['lead'] >= 1
         AND NOT content_class_learned(by_rule['l1'])
         AND coalesce(by_model['probability'], 0) < 0.9
        THEN CASE WHEN by_rule['lead'] >= 3 THEN 'rule' END  -- 模型没有学过的类：它不是十拿九稳就听规则，规则也弱则不分
        WHEN by_model['certain']   THEN 'model'   -- 达到模型的阈值
    END AS class_source,
    keyword_class('content_class', title, content, CASE
        WHEN by_model['certain'] AND by_rule['l1'] IS DISTINCT FROM by_model['class'] THEN by_model['class']
    END) AS within_model,
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
FROM classify
