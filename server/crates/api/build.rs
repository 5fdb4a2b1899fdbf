//! What a browser gets is compressed here, once.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The files of GraphiQL.
const GRAPHIQL: &str = "assets/graphiql";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={GRAPHIQL}");
    let out = std::env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let folder = PathBuf::from(out).join("graphiql");
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(GRAPHIQL)? {
        let path = entry?.path();
        if let Some(name) = path.file_name() {
            compress(&path, &folder.join(name))?;
        }
    }
    Ok(())
}

fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let mut encoder = GzEncoder::new(File::create(to.with_added_extension("gz"))?, Compression::best());
    encoder.write_all(&fs::read(from)?)?;
    encoder.finish()?;
    Ok(())
}
