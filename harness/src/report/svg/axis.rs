//! Maps times to positions on the drawing's axis. Long idle gaps are compressed.

use jiff::Timestamp;

use crate::run::Timeline;

/// A gap is idle if it is longer than the median gap by this factor.
const IDLE: f64 = 6.0;
/// Smallest width of a gap, as a fraction of the median one. Below it two moments would look like one.
const LEAST: f64 = 0.2;
/// Smallest distance between two ticks.
const APART: f64 = 55.0;

/// A monotonic mapping of time to x, linear between two neighbouring moments.
pub(super) struct Axis {
    /// Moments with their positions, in order; never empty.
    points: Vec<(Timestamp, f64)>,
    breaks: Vec<f64>,
}

impl Axis {
    /// The axis of this timeline between two positions.
    pub(super) fn of(timeline: &Timeline, left: f64, right: f64) -> Self {
        let moments = super::moments(timeline);
        let gaps: Vec<f64> = moments
            .windows(2)
            .map(|pair| (pair[1].as_millisecond() - pair[0].as_millisecond()).max(0) as f64)
            .collect();
        // The width of a compressed gap grows with the logarithm of its length: longer gaps stay wider, but not by
        // much.
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

    /// The position of a moment. Moments outside the axis get the position of the nearer end.
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

    /// The middles of the compressed gaps.
    pub(super) fn breaks(&self) -> &[f64] {
        &self.breaks
    }

    /// Moments to label, far enough apart to be legible. Always includes the first and the last.
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
