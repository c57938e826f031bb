//! Generates the messages, API keys and error codes of `src/messages.rs` and `src/protocol.rs` from
//! `schema/`.
//!
//! The output is one readable file for each message in `OUT_DIR/messages/`, and a few tables beside it.

// The law against files is for the room itself; a build script has nothing but files.
#![allow(clippy::disallowed_methods)]

#[path = "build/code.rs"]
mod code;
#[path = "build/codec.rs"]
mod codec;
#[path = "build/min_size.rs"]
mod min_size;
#[path = "build/modules.rs"]
mod modules;
#[path = "build/names.rs"]
mod names;
#[path = "build/parse.rs"]
mod parse;
#[path = "build/read.rs"]
mod read;
#[path = "build/records.rs"]
mod records;
#[path = "build/schema.rs"]
mod schema;
#[path = "build/tables.rs"]
mod tables;
#[path = "build/types.rs"]
mod types;
#[path = "build/write.rs"]
mod write;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=schema");

    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    let out = Path::new(&out);
    let mut messages = parse::messages(&fs::read_to_string("schema/protocol.txt")?)?;
    messages.extend(parse::messages(&fs::read_to_string("schema/records.txt")?)?);
    let errors = tables::error_codes(&fs::read_to_string("schema/errors.txt")?)?;

    let folder = out.join("messages");
    fs::create_dir_all(&folder)?;
    for message in &messages {
        let file = folder.join(format!("{}.rs", names::snake(&message.name)));
        fs::write(file, modules::message(message)?)?;
    }
    fs::write(folder.join("metadata_record.rs"), records::metadata_record(&messages))?;
    fs::write(out.join("messages.rs"), modules::index(&messages, &folder))?;
    fs::write(out.join("for_each_message.rs"), modules::for_each(&messages))?;
    fs::write(out.join("api_key.rs"), tables::api_key(&messages)?)?;
    fs::write(out.join("error_code.rs"), errors)?;
    Ok(())
}
