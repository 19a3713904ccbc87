-- 宜春市12345的工单，换成本流水线的原始列。这里只改名，不加工。
SELECT
    '3609-12345' AS app_id,
    gdbh         AS order_no,  -- 工单编号
    sjbh         AS order_no_upper,  -- 上级编号
    bdbh         AS parent_order_no,  -- 并单编号
    xm           AS appellant_name,  -- 姓名
    sqzt         AS appellant_type,  -- 诉求主体
    xb           AS appellant_gender,  -- 性别：1男 2女
    zjhm         AS appellant_cert_no,  -- 证件号码
    lxdh         AS contact_phone,  -- 联系电话
    ldhm         AS caller_no,  -- 来电号码
    sfbm         AS is_secret,  -- 是否保密
    slsj         AS appeal_time,  -- 受理时间
    sqlx         AS appeal_type,  -- 诉求类型
    lyqd         AS channel,  -- 来源渠道
    bt           AS title,  -- 标题
    nr           AS content,  -- 内容
    fsdz         AS occur_address,  -- 发生地址
    qhdm         AS region,  -- 区划代码
    NULL         AS lng,
    NULL         AS lat,
    NULL         AS crs,
    jjcd         AS urgency,  -- 紧急程度
    wtfl         AS subject,  -- 问题分类
    gdzt         AS status,  -- 工单状态
    blfs         AS handling_mode,  -- 办理方式
    cbdw         AS org_name,  -- 承办单位
    blsx         AS deadline,  -- 办理时限
    bjsj         AS finish_time,  -- 办结时间
    dfnr         AS reply_content,  -- 答复内容
    sfjj         AS is_solved,  -- 是否解决
    myd          AS satisfaction_final,  -- 满意度
    thid         AS call_id,  -- 通话编号
    gxsj         AS update_time,  -- 更新时间
    scbz         AS del_flag  -- 删除标志
FROM message
