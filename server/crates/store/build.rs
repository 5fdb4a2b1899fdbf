//! `embed_migrations!` does not detect a new migration by itself.

fn main() {
    println!("cargo::rerun-if-changed=../../../migrations");
}
