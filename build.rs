//! The shipped pipelines and schemas are part of the binary (for `huiju demo`): build again when they change.

fn main() {
    println!("cargo:rerun-if-changed=pipelines");
    println!("cargo:rerun-if-changed=schemas");
}
