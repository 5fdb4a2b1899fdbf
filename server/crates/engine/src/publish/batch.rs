//! A group of drafts to be stored: which become events, and which repeat an earlier publication (E1).

use std::collections::HashMap;

use jiff::Timestamp;

use crate::publish::call::Published;
use tenterhook_model::event::{Draft, Event};
use tenterhook_model::ids::{CompanyId, EventId, EventIds, Lane};
use tenterhook_policy::matching::selector;
use tenterhook_policy::merge_events;
use tenterhook_policy::sameness::{content_hash, ordered_content_hash};
use tenterhook_settings::policy::Catalog;
use tenterhook_store::StoreError;
use tenterhook_store::idempotency::{Claim, Taken};
use tenterhook_store::publish::Publication;

/// Idempotency keys that were taken before, and what was stored for them.
pub(crate) type Takens = HashMap<(CompanyId, String), Taken>;

/// A draft with the events it may become. Their ids are assigned once: if the group is divided, the draft is stored with
/// the same ids. The database accepts them only once, whether or not the first try was committed.
pub(crate) struct Candidate<'a> {
    draft: &'a Draft,
    event: Event,
    /// For a merge: the event about the object that disappeared (E6).
    other: Option<Event>,
    /// Empty without a key.
    hash: Vec<u8>,
}

impl<'a> Candidate<'a> {
    /// Assigns events to a draft.
    pub fn of(draft: &'a Draft, now: Timestamp, ids: &mut EventIds) -> Self {
        let (event, other) = merge_events::events(draft, || ids.next(now));
        let key = draft.idempotency_key.as_ref();
        let hash = key.map(|_| content_hash(draft)).unwrap_or_default();
        Self {
            draft,
            event,
            other,
            hash,
        }
    }

    fn key(&self) -> Option<&'a str> {
        self.draft.idempotency_key.as_deref()
    }
}

/// Drafts that are stored together.
pub(crate) struct Batch<'a> {
    drafts: Vec<BatchedDraft<'a>>,
}

/// A draft in its group.
struct BatchedDraft<'a> {
    candidate: &'a Candidate<'a>,
    /// The earlier draft of the same group with the same key.
    same_as: Option<usize>,
}

/// Number of deliveries per draft. A merge counts the deliveries of both events.
pub(crate) type Counts = HashMap<usize, u32>;

impl<'a> Batch<'a> {
    /// A group of these drafts, in this order.
    pub fn of(candidates: impl Iterator<Item = &'a Candidate<'a>>) -> Self {
        let mut first_with: HashMap<(CompanyId, &str), usize> = HashMap::new();
        let mut drafts = Vec::new();
        for (index, candidate) in candidates.enumerate() {
            let company = candidate.event.company;
            let key = candidate.key();
            let first = key.map(|key| *first_with.entry((company, key)).or_insert(index));
            drafts.push(BatchedDraft {
                candidate,
                same_as: first.filter(|first| *first != index),
            });
        }
        Self { drafts }
    }

    /// The keys of the group, each once.
    pub fn claims(&self) -> Vec<Claim> {
        let claim = |draft: &BatchedDraft<'_>| {
            let candidate = draft.candidate;
            let key = candidate.key().filter(|_| draft.same_as.is_none())?;
            Some(Claim {
                company: candidate.event.company,
                key: key.to_owned(),
                event: candidate.event.id,
                request_hash: candidate.hash.clone(),
            })
        };
        self.drafts.iter().filter_map(claim).collect()
    }

    /// The drafts to store: all except those whose key was taken, before or within the group.
    pub fn fresh(&self, taken: &Takens) -> Vec<usize> {
        let is_fresh = |draft: &BatchedDraft<'_>| draft.same_as.is_none() && draft.taken(taken).is_none();
        (0..self.drafts.len())
            .filter(|index| is_fresh(&self.drafts[*index]))
            .collect()
    }

    /// The events of these drafts, with the fields that subscribers match.
    pub fn publications(&self, fresh: &[usize], catalog: &Catalog) -> Vec<Publication<'_>> {
        let events = fresh.iter().flat_map(|index| self.drafts[*index].events());
        events
            .map(|event| {
                let seen = selector(event, catalog);
                Publication {
                    event,
                    seen_by_v1: seen.v1,
                    seen_by_v2: seen.v2,
                }
            })
            .collect()
    }

    /// How many deliveries each of these drafts made, from the numbers for each of its
    /// [`publications`](Self::publications).
    pub fn counts(&self, fresh: &[usize], made: &[u32]) -> Counts {
        let draft_of = fresh
            .iter()
            .flat_map(|index| self.drafts[*index].events().map(move |_| *index));
        let mut counts: Counts = fresh.iter().map(|index| (*index, 0)).collect();
        for (draft, made) in draft_of.zip(made) {
            *counts.entry(draft).or_default() += made;
        }
        counts
    }

    /// The counts of drafts with a key. A later duplicate returns them.
    pub fn keyed(&self, counts: &Counts) -> Vec<(CompanyId, String, u32)> {
        let keyed = |(index, count): (&usize, &u32)| {
            let candidate = self.drafts[*index].candidate;
            Some((candidate.event.company, candidate.key()?.to_owned(), *count))
        };
        counts.iter().filter_map(keyed).collect()
    }

    /// The result for each draft. `firsts` are the events of the taken keys.
    pub fn answers(
        &self,
        counts: &Counts,
        taken: &Takens,
        firsts: &HashMap<EventId, Event>,
    ) -> Result<Vec<Published>, StoreError> {
        let answer = |(index, draft): (usize, &BatchedDraft<'_>)| match draft.taken(taken) {
            Some(first) => draft.repeated(first, firsts),
            None => Ok(self.stored(index, draft, counts)),
        };
        self.drafts.iter().enumerate().map(answer).collect()
    }

    fn stored(&self, index: usize, draft: &BatchedDraft<'_>, counts: &Counts) -> Published {
        let first = draft.same_as.unwrap_or(index);
        let event = self.drafts[first].candidate.event.clone();
        let deliveries = counts.get(&first).copied().unwrap_or(0);
        match draft.same_as {
            None => Published::New { event, deliveries },
            Some(first) if self.drafts[first].candidate.hash == draft.candidate.hash => {
                Published::Duplicate { event, deliveries }
            }
            Some(_) => Published::Conflict,
        }
    }
}

impl BatchedDraft<'_> {
    fn events(&self) -> impl Iterator<Item = &Event> {
        std::iter::once(&self.candidate.event).chain(self.candidate.other.as_ref())
    }

    fn taken<'t>(&self, taken: &'t Takens) -> Option<&'t Taken> {
        let key = self.candidate.key()?.to_owned();
        taken.get(&(self.candidate.event.company, key))
    }

    fn repeated(&self, first: &Taken, firsts: &HashMap<EventId, Event>) -> Result<Published, StoreError> {
        // The hash may have been stored by a server of the previous version or of this one.
        let is_same = first.request_hash == self.candidate.hash
            || first.request_hash == ordered_content_hash(self.candidate.draft);
        if !is_same {
            return Ok(Published::Conflict);
        }
        let event = firsts
            .get(&first.event)
            .cloned()
            .ok_or_else(|| StoreError::Inconsistent {
                table: "idempotency",
                what: format!("event {} was deleted before its key", first.event),
            })?;
        Ok(Published::Duplicate {
            event,
            deliveries: first.deliveries,
        })
    }
}

/// The events stored for these keys, with their lanes for the lookup.
pub(crate) fn first_events(taken: &Takens) -> Vec<(Lane, EventId)> {
    taken
        .iter()
        .map(|((company, _), first)| (Lane::of(*company), first.event))
        .collect()
}
