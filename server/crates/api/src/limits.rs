//! The limits of this API, where it differs from the defaults of `graphql-http`.

use tenterhook_graphql_http::http_server;

/// Maximum depth of fields outside of `__schema` and `__type`.
pub const DEEPEST: usize = 15;
/// Maximum depth of fields under `__schema` or `__type`. The introspection query of common tools has 15, with types
/// nested in nine brackets; some tools go to twelve.
pub const DEEPEST_INTROSPECTION: usize = 20;
/// Maximum cost of a query: one for each field, times the number of elements it may be read for. A hundred webhooks
/// with health, app and their last five deliveries with attempts cost about 35,000.
pub const COSTLIEST: usize = 50_000;

/// Maximum size of the platform's bodies, which carry events, in bytes.
pub const PUBLISHING_LIMIT: usize = 8 * 1024 * 1024;
/// Maximum number of values in the platform's JSON: a thousand events with two hundred fields each, twice.
pub const MAX_PUBLISHED_VALUES: usize = 500_000;

// A client whose token has expired can read the 401 after it has sent the largest publication.
const _: () = assert!(PUBLISHING_LIMIT <= http_server::DISCARDED);

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_graphql_http::SheddingConfig;
    use tenterhook_graphql_http::load_shedding::LoadShedder;
    use tenterhook_settings::table::LARGEST_PUBLICATION;

    #[test]
    fn the_largest_publication_fits_the_smallest_memory_setting() {
        let shedder = LoadShedder::new(&SheddingConfig {
            calls: 1,
            memory: LARGEST_PUBLICATION,
            ..SheddingConfig::default()
        });
        let mut permit = shedder.body(PUBLISHING_LIMIT).unwrap();
        shedder.values(&mut permit, MAX_PUBLISHED_VALUES).unwrap();
    }
}
