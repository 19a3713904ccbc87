-- 赣州市12345的工单，换成本流水线的原始列。这里只改名，不加工。
SELECT
    '3607-12345'         AS app_id,
    workOrder.id         AS order_no,
    workOrder.provinceId AS order_no_upper,
    workOrder.mergedTo   AS parent_order_no,
    reporter.name        AS appellant_name,
    reporter.kind        AS appellant_type,
    reporter.gender      AS appellant_gender,  -- 0男 1女
    reporter.idNo        AS appellant_cert_no,
    reporter.phone       AS contact_phone,
    reporter.callNo      AS caller_no,
    workOrder.secret     AS is_secret,  -- 0否 1是
    workOrder.createTime AS appeal_time,
    workOrder.type       AS appeal_type,
    workOrder.source     AS channel,
    workOrder.title      AS title,
    workOrder.text       AS content,
    place.address        AS occur_address,
    place.code           AS region,
    place.lng            AS lng,
    place.lat            AS lat,
    place.crs            AS crs,
    workOrder.urgent     AS urgency,  -- 0至3，见 ganzhou.codes.csv
    workOrder.classPath  AS subject,
    workOrder.state      AS status,
    workOrder.handle     AS handling_mode,
    workOrder.dept       AS org_name,
    workOrder.limitTime  AS deadline,
    workOrder.finishTime AS finish_time,
    workOrder.reply      AS reply_content,
    workOrder.solved     AS is_solved,  -- 0解决 1未解决 2部分解决 3不办理
    workOrder.score      AS satisfaction_final,  -- 5非常满意 … 1非常不满意
    workOrder.callId     AS call_id,
    workOrder.updateTime AS update_time,
    workOrder.deleted    AS del_flag
FROM message
