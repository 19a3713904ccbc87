//! Ids of topics. One that is deleted and created anew has another, though its name is the same and its offsets may look
//! like those of the old one; the client library goes on reading in it as if nothing had happened.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, c_char, c_int},
    time::Duration,
};

use rdkafka::{
    bindings::*,
    client::{Client, ClientContext},
    error::{KafkaError, KafkaResult},
    types::{
        RDKafkaErrorCode,
        RDKafkaRespErr::{self, *},
    },
};

/// Ids by topic. A broker that knows none, and a topic of which it tells none, are left out.
pub type Ids = BTreeMap<String, String>;

pub fn ids<C: ClientContext>(client: &Client<C>, topics: &[&str], patience: Duration) -> KafkaResult<Ids> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(*topic).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let patience = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX);
    let mut text = [0; 128];
    // SAFETY: the client and the names live until the end; what is made here is given back here, after its last use.
    unsafe {
        let client = client.native_ptr();
        let queue = rd_kafka_queue_new(client);
        let options = rd_kafka_AdminOptions_new(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        rd_kafka_AdminOptions_set_request_timeout(options, patience, text.as_mut_ptr(), text.len());
        let wanted = rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        rd_kafka_DescribeTopics(client, wanted, options, queue);
        // An answer comes in time, if only to say that there is none.
        let event = rd_kafka_queue_poll(queue, patience.saturating_add(1000));
        let told = if event.is_null() { Err(timed_out()) } else { read(event) };
        rd_kafka_event_destroy(event);
        rd_kafka_TopicCollection_destroy(wanted);
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_queue_destroy(queue);
        told
    }
}

fn timed_out() -> KafkaError {
    KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut)
}

/// # Safety
///
/// `event` is one that answers a `DescribeTopics`, and lives.
unsafe fn read(event: *mut rd_kafka_event_t) -> KafkaResult<Ids> {
    // SAFETY: what is read belongs to the event.
    unsafe {
        match rd_kafka_event_error(event) {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE => return Ok(Ids::new()),
            error => return Err(KafkaError::MetadataFetch(error.into())),
        }
        let result = rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(timed_out());
        }
        let mut count = 0;
        let topics = rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let mut ids = Ids::new();
        for at in 0..count {
            let topic = *topics.add(at);
            let error = rd_kafka_TopicDescription_error(topic);
            let id = rd_kafka_TopicDescription_topic_id(topic);
            let refused = !error.is_null() && rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR_NO_ERROR;
            if refused || id.is_null() || is_zero(id) {
                continue;
            }
            let text = |text: *const c_char| CStr::from_ptr(text).to_string_lossy().into_owned();
            ids.insert(text(rd_kafka_TopicDescription_name(topic)), text(rd_kafka_Uuid_base64str(id)));
        }
        Ok(ids)
    }
}

/// # Safety
///
/// `id` lives.
unsafe fn is_zero(id: *const rd_kafka_Uuid_t) -> bool {
    // SAFETY: as above.
    unsafe { rd_kafka_Uuid_most_significant_bits(id) == 0 && rd_kafka_Uuid_least_significant_bits(id) == 0 }
}
