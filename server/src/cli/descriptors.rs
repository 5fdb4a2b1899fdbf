//! Open files: each attempt in progress has one, as has each client of the API and each connection to the database.
//!
//! Raises the process's limit to its hard limit, and warns if that is too low for `in_flight`. When no file is
//! available, attempts are postponed (D13) and nothing is lost. The number of clients is not limited here.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Number of open files needed in addition to those of attempts: clients, the database, lookups, the process's own.
const BESIDE_ATTEMPTS: u64 = 512;

/// Raises the soft limit to the hard one, and warns if that is too low for `in_flight` concurrent attempts.
pub(super) fn raise(in_flight: u32) {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    // Fails if the system allows fewer than the hard limit says; the check below uses the actual limit.
    let _ = setrlimit(Resource::Nofile, raised);
    if let Err(too_few) = enough(getrlimit(Resource::Nofile).current, in_flight) {
        tracing::warn!("{too_few}");
    }
}

/// How many open files the process will be allowed, or what to do if that is too low.
pub(super) fn allowed(in_flight: u32) -> Result<String, String> {
    enough(getrlimit(Resource::Nofile).maximum, in_flight)
}

fn enough(limit: Option<u64>, in_flight: u32) -> Result<String, String> {
    let needed = u64::from(in_flight) + BESIDE_ATTEMPTS;
    match limit {
        None => Ok("no limit".to_owned()),
        Some(limit) if limit >= needed => Ok(limit.to_string()),
        Some(limit) => Err(format!(
            "the process may have only {limit} open files, and {in_flight} concurrent attempts (TENTERHOOK_IN_FLIGHT) may \
             need {needed}: raise \
             the hard limit (LimitNOFILE= of a systemd service, `ulimit -Hn`), or lower the setting"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_files_must_cover_all_attempts_and_a_reserve() {
        assert_eq!(enough(Some(4_608), 4_096).unwrap(), "4608");
        let too_few = enough(Some(4_607), 4_096).unwrap_err();
        assert!(
            too_few.starts_with("the process may have only 4607 open files"),
            "{too_few}"
        );
        assert_eq!(enough(None, 100_000).unwrap(), "no limit");
    }

    #[test]
    fn the_soft_limit_is_raised_as_far_as_it_may() {
        raise(1);
        let limits = getrlimit(Resource::Nofile);
        assert_eq!(limits.current, limits.maximum);
    }
}
