use super::*;

const PUBLISHED: &str = include_str!("../../../../schema.graphql");

#[test]
fn the_published_schema_is_the_one_that_is_served() {
    assert!(
        sdl() == PUBLISHED,
        "schema.graphql differs from the code. To adopt the change: cargo run -- schema > schema.graphql"
    );
}

#[test]
fn everything_is_described() {
    const UNDESCRIBED: [&str; 6] = ["schema", "query:", "mutation:", "subscription:", "}", ")"];
    let mut missing = Vec::new();
    let (mut describing, mut described) = (false, false);
    for line in PUBLISHED.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line == "\"\"\"" {
            describing = !describing;
            described = true;
        } else if !describing && !UNDESCRIBED.iter().any(|begin| line.starts_with(begin)) {
            if !described {
                missing.push(line);
            }
            described = false;
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
