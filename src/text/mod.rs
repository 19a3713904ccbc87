//! Words of the domain as pure functions: what a phone number, an ID card, a time, a place look like when people type
//! them, and how they are hidden again.
//!
//! Nothing in here knows Arrow, does I/O or reads the clock. What cannot be read is `None` or a reason that never
//! contains the value: the values are personal data. Nothing is guessed; an ambiguous text is an unreadable text.

pub mod charset;
pub mod classify;
pub mod credit_code;
pub mod datetime;
pub mod division;
pub mod id_card;
pub mod keywords;
pub mod lists;
pub mod mask;
pub mod person;
pub mod phone;
pub mod width;

pub use self::{
    credit_code::{CreditCode, NotACreditCode},
    datetime::{parse_date, parse_time},
    division::{Division, Divisions, Level, Retired},
    id_card::{IdCard, NotAnId},
    keywords::{Choice, KeywordRule, KeywordRules},
    mask::{mask_id, mask_name, mask_phone, mask_text, mask_value},
    person::person,
    phone::{Kind, NotAPhone, Phone},
    width::{clean, given, half_width},
};
