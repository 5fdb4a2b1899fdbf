//! Values that Postgres refuses to store: a mark in a receiver's response or in an event's data, and triggers that
//! refuse it.
//!
//! A marked value is refused with the SQLSTATE that follows the mark, and nothing else is refused. It stands for any
//! value that the server accepts and Postgres refuses.

use crate::rng::Rng;

/// The mark in refused values. The five characters of a SQLSTATE follow it.
pub const MARK: &str = "tenterhook-refuse ";
/// The body of a response without the mark.
pub const PLAIN: &str = "well";
/// The SQLSTATEs: a character outside the encoding, a zero byte, a check constraint.
pub const STATES: [&str; 3] = ["22021", "22P05", "23514"];
/// One response in `ONE_IN` has the mark.
const ONE_IN: usize = 8;

/// SQL that makes a database refuse marked values.
pub const TRIGGERS: &str = "
    create function refuse_marked_answer() returns trigger language plpgsql as $$
    begin
        raise exception 'refused by the campaign'
            using errcode = substring(new.response_body from 'tenterhook-refuse ([0-9A-Z]{5})');
    end $$;
    create trigger refuse_marked_answer before insert or update on attempts for each row
        when (new.response_body like '%tenterhook-refuse %') execute function refuse_marked_answer();
    create function refuse_marked_event() returns trigger language plpgsql as $$
    begin
        raise exception 'refused by the campaign'
            using errcode = substring(new.data from 'tenterhook-refuse ([0-9A-Z]{5})');
    end $$;
    create trigger refuse_marked_event before insert on events for each row
        when (new.data like '%tenterhook-refuse %') execute function refuse_marked_event();";

/// SQLSTATE and status of the response to this attempt, if the response has the mark. An attempt that the server repeats
/// gets the same response.
pub fn of(event: &str, attempt: u8) -> Option<(&'static str, u16)> {
    let seed = event.bytes().fold(u64::from(attempt), |seed, byte| {
        seed.rotate_left(8) ^ seed.wrapping_mul(31) ^ u64::from(byte)
    });
    let mut rng = Rng::new(seed);
    (rng.below(ONE_IN) == 0).then(|| (STATES[rng.below(STATES.len())], [200, 500][rng.below(2)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Cluster;

    #[tokio::test]
    async fn the_triggers_refuse_marked_text_with_its_sqlstate() {
        let database = Cluster::shared().await.unwrap().database().await.unwrap();
        database
            .execute(
                "create table plain (data text, response_body text);
                 alter table attempts rename to real_attempts; alter table events rename to real_events;
                 create table attempts (like plain); create table events (like plain);",
            )
            .await
            .unwrap();
        database.execute(TRIGGERS).await.unwrap();
        for (table, column) in [("attempts", "response_body"), ("events", "data")] {
            for state in STATES {
                let insert = |text: &str| format!("insert into {table} ({column}) values ('{text}')");
                let refused = database.execute(&insert(&format!("{MARK}{state}"))).await;
                let error = refused.unwrap_err();
                let error = error.downcast_ref::<tokio_postgres::Error>().unwrap();
                assert_eq!(error.code().unwrap().code(), state, "{table}");
                database.execute(&insert(PLAIN)).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn the_triggers_fit_the_servers_own_tables() {
        let database = Cluster::shared().await.unwrap().database().await.unwrap();
        database.execute(TRIGGERS).await.unwrap();
    }

    #[test]
    fn some_responses_are_marked_with_every_sqlstate() {
        let marked: Vec<_> = (0..400).filter_map(|n| of(&format!("event-{n}"), 1)).collect();
        assert!((20..100).contains(&marked.len()), "{}", marked.len());
        for state in STATES {
            assert!(marked.iter().any(|(marked, _)| *marked == state), "{state}");
        }
    }
}
