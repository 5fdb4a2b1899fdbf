//! `tenterhook reseal`: replaces a sealing key while servers run, and counts the values under each key.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context;
use secrecy::ExposeSecret;

use tenterhook_engine::reseal::{self, BATCH, ResealProgress};
use tenterhook_model::ids::LANES;
use tenterhook_policy::sealing::{KeyId, Keyring, OpenError, PREFIX_LENGTH, key_of};
use tenterhook_settings::{Settings, keys};
use tenterhook_store::{Store, sealed};

pub(super) async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let url = settings.database_url.as_ref();
    let url = url.context("DATABASE_URL is not set: it says which database to reseal")?;
    let keyring = keyring(settings)?;
    let store = Store::single(url.expose_secret(), settings.database_timeout)?;
    let progress = reseal::run(&store, &keyring, BATCH, tell).await?;
    let standing = Standing::of(&store, &keyring).await?;
    store.close();
    super::write_stdout(&standing.told())?;
    if progress.unopened > 0 {
        eprintln!(
            "{} webhooks were not changed: their secrets are damaged, or sealed with a key that is not configured",
            progress.unopened
        );
    }
    if standing.others() > 0 {
        eprintln!("not finished: when the new key is the first on every server, run this again");
        return Ok(ExitCode::FAILURE);
    }
    eprintln!("done: only the first key is needed now");
    Ok(ExitCode::SUCCESS)
}

/// The sealing keys of the settings.
pub(super) fn keyring(settings: &Settings) -> anyhow::Result<Keyring> {
    let keys = keys::sealing_keys(settings)?.context("TENTERHOOK_SEALING_KEY_FILE is not set")?;
    Keyring::parse(keys.expose_secret()).context("the sealing keys cannot be used")
}

fn tell(progress: ResealProgress) {
    if progress.webhooks > 0 {
        eprintln!(
            "{} of {LANES} lanes: {} webhooks resealed",
            progress.lanes, progress.webhooks
        );
    }
}

/// The number of values under each key.
pub(super) struct Standing {
    /// The known keys come first, including those without values.
    values: Vec<(Result<KeyId, OpenError>, i64)>,
    known: Vec<KeyId>,
}

impl Standing {
    pub async fn of(store: &Store, keyring: &Keyring) -> anyhow::Result<Self> {
        let counted = sealed::count(&mut *store.conn().await?, PREFIX_LENGTH).await?;
        let known: Vec<KeyId> = keyring.ids().collect();
        let mut values: Vec<_> = known.iter().map(|id| (Ok(*id), 0)).collect();
        for (prefix, count) in counted {
            let key = key_of(&prefix);
            match values.iter_mut().find(|(other, _)| *other == key) {
                Some((_, sum)) => *sum += count,
                None => values.push((key, count)),
            }
        }
        Ok(Self { values, known })
    }

    /// Number of values that are not sealed with the first key.
    pub fn others(&self) -> i64 {
        self.values[1..].iter().map(|(_, count)| count).sum()
    }

    /// Number of values that no key opens.
    pub fn lost(&self) -> i64 {
        self.values[self.known.len()..]
            .iter()
            .map(|(_, count)| count)
            .sum()
    }

    fn told(&self) -> String {
        let mut text = String::from("sealed values by key\n");
        for (place, (key, count)) in self.values.iter().enumerate() {
            let what = match place {
                0 => "encrypts and decrypts",
                _ if place < self.known.len() => "decrypts",
                _ => "cannot decrypt",
            };
            let key = key.map_or_else(|error| error.to_string(), |id| id.to_string());
            // Cannot fail, because it writes to memory.
            let _ = writeln!(text, "  {key}  {count:>10}  {what}");
        }
        text
    }
}
