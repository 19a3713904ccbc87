//! What a line does with the messages of one source.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tracing::info;

use crate::{config::Source, decode::Decoder, engine::Program};

/// A source's part of the line.
pub struct Flow {
    name: Arc<str>,
    pub decoder: Decoder,
    pub program: Arc<Program>,
    /// Rows that it has still to see before it is told which fields never had a value.
    look: usize,
    /// Whether it was told, in this line or one before.
    looked: Arc<AtomicBool>,
}

/// After so many rows of a source it is told which fields of its map never had a value: fewer may well lack what is rare.
const LOOK: usize = 10_000;

impl Flow {
    pub fn new(source: &Source, program: Arc<Program>, looked: Arc<AtomicBool>) -> Flow {
        let look = if looked.load(Ordering::Relaxed) { 0 } else { LOOK };
        let decoder = Decoder::new(program.fields(), source);
        Flow { name: source.name.clone(), decoder, program, look, looked }
    }

    /// A field that is misspelt in a map is NULL for ever, and nothing else would tell. Once in a process's life.
    pub fn tell_unseen(&mut self, pipeline: &str, rows: usize) {
        if self.look == 0 {
            return;
        }
        self.look = self.look.saturating_sub(rows);
        let fields: Vec<String> = match self.look {
            0 => self.decoder.unseen().into_iter().map(|unseen| unseen.field).collect(),
            _ => return,
        };
        self.looked.store(true, Ordering::Relaxed);
        if !fields.is_empty() {
            let (source, fields) = (&*self.name, fields.join(", "));
            info!(pipeline, source, fields, "no row has had a value in these fields of the map: are they spelt right?");
        }
    }
}
