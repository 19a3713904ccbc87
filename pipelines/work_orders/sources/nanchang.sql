-- 南昌市12345的工单，换成本流水线的原始列。这里只改名，不加工。
SELECT
    '3601-12345'                      AS app_id,
    orderNum                          AS order_no,
    oldOrderNum                       AS order_no_upper,
    mergeOrderNum                     AS parent_order_no,
    callerName                        AS appellant_name,
    callSubject                       AS appellant_type,
    callerSex                         AS appellant_gender,
    callerIdCard                      AS appellant_cert_no,
    callerContact                     AS contact_phone,
    callerPhone                       AS caller_no,
    isSecret                          AS is_secret,
    callTime                          AS appeal_time,
    callType                          AS appeal_type,
    sourceType                        AS channel,
    title                             AS title,
    appealContent                     AS content,
    address                           AS occur_address,
    areaName                          AS region,
    split_part(half_width(addressPoints), ',', 1) AS lng,  -- “经度,纬度”
    split_part(half_width(addressPoints), ',', 2) AS lat,
    'GCJ-02'                          AS crs,  -- 市平台用高德地图
    pilotLight                        AS urgency,  -- 警示灯：红、黄、绿
    questionName                      AS subject,
    orderState                        AS status,
    handleModelType                   AS handling_mode,
    orgName                           AS org_name,
    deadlineDate                      AS deadline,
    completeTime                      AS finish_time,
    replyContent                      AS reply_content,
    solvedState                       AS is_solved,
    visitSatisfied                    AS satisfaction_final,
    callId                            AS call_id,
    updateTime                        AS update_time,
    delFlag                           AS del_flag
FROM message
