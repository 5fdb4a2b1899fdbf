//! From a moment to a place on the drawing's axis, with idle stretches squeezed.

use jiff::Timestamp;

use crate::run::Timeline;

/// How many times the usual distance between two moments makes a stretch idle.
const IDLE: f64 = 6.0;
/// The least width of a stretch, as a part of the usual one: below it two moments would be drawn as one.
const LEAST: f64 = 0.2;
/// The least distance between two ticks.
const APART: f64 = 55.0;

/// A mapping of time to x that never runs backwards; linear between two neighbouring moments.
pub(super) struct Axis {
    /// Moments with their places, in order; never empty.
    points: Vec<(Timestamp, f64)>,
    breaks: Vec<f64>,
}

impl Axis {
    /// The axis of this timeline between two places.
    pub(super) fn of(timeline: &Timeline, left: f64, right: f64) -> Self {
        let moments = super::moments(timeline);
        let gaps: Vec<f64> = moments
            .windows(2)
            .map(|pair| (pair[1].as_millisecond() - pair[0].as_millisecond()).max(0) as f64)
            .collect();
        // A squeezed gap is as wide as its logarithm beyond the usual one: longer stays longer, but not by much.
        let mut sorted = gaps.clone();
        sorted.sort_by(f64::total_cmp);
        let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0).max(1.0);
        let width = |gap: f64| {
            if gap > usual * IDLE {
                IDLE + (gap / (usual * IDLE)).ln()
            } else {
                (gap / usual).max(LEAST)
            }
        };
        let total: f64 = gaps
            .iter()
            .map(|gap| width(*gap))
            .sum::<f64>()
            .max(f64::MIN_POSITIVE);
        let mut points = vec![(moments[0], left)];
        let mut breaks = Vec::new();
        let mut x = left;
        for (at, gap) in moments[1..].iter().zip(&gaps) {
            let step = width(*gap) / total * (right - left);
            if *gap > usual * IDLE {
                breaks.push(x + step / 2.0);
            }
            x += step;
            points.push((*at, x));
        }
        Self { points, breaks }
    }

    /// The place of a moment; one outside is put at the nearer end.
    pub(super) fn x(&self, at: Timestamp) -> f64 {
        let after = self.points.partition_point(|(known, _)| *known < at);
        match (
            after.checked_sub(1).and_then(|before| self.points.get(before)),
            self.points.get(after),
        ) {
            (Some((from, left)), Some((to, right))) => {
                let whole = (to.as_millisecond() - from.as_millisecond()).max(1) as f64;
                left + (right - left) * (at.as_millisecond() - from.as_millisecond()) as f64 / whole
            }
            (_, Some((_, x))) | (Some((_, x)), None) => *x,
            (None, None) => 0.0,
        }
    }

    /// The middles of squeezed stretches.
    pub(super) fn breaks(&self) -> &[f64] {
        &self.breaks
    }

    /// Moments to be named, far enough apart to be read; the first and the last always.
    pub(super) fn ticks(&self) -> Vec<(f64, Timestamp)> {
        let mut ticks: Vec<(f64, Timestamp)> = Vec::new();
        let last = self.points.last().map(|(at, x)| (*x, *at));
        for (at, x) in &self.points {
            let far = ticks.last().is_none_or(|(before, _)| x - before >= APART);
            let clear = last.is_none_or(|(end, _)| end - x >= APART);
            if far && clear {
                ticks.push((*x, *at));
            }
        }
        ticks.extend(last);
        ticks
    }
}
