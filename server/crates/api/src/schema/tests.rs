use super::*;

const PUBLISHED: &str = include_str!("../../../../../schema.graphql");

#[test]
fn the_published_schema_is_the_one_that_is_served() {
    assert!(
        sdl() == PUBLISHED,
        "schema.graphql differs from the code. To adopt the change: cargo run -- schema > schema.graphql"
    );
}
