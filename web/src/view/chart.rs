//! Pictures, drawn as SVG within the page: colours come from the style sheet, light or dark, and every number stands in a
//! table too.

use std::fmt::Write;

use jiff::Timestamp;

use super::{Picture, ResultItem, Unit, duration, picture::float};

/// The whole, in units of the drawing; the page scales it.
pub(crate) const WIDTH: f64 = 760.0;
/// Its height.
pub(crate) const HEIGHT: f64 = 210.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;

/// A picture, ready to be laid out.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub(crate) title: String,
    /// What the numbers are of, in a sentence.
    pub(crate) note: String,
    pub(crate) is_empty: bool,
    pub(crate) shapes: Vec<Shape>,
    /// Height and label.
    pub(crate) ticks: Vec<(String, String)>,
    /// Place and label.
    pub(crate) times: Vec<(String, String)>,
    /// Class and name.
    pub(crate) legend: Vec<(String, String)>,
    /// The lines' names.
    pub(crate) heads: Vec<String>,
    /// Time and numbers, newest first.
    pub(crate) rows: Vec<(String, Vec<String>)>,
}

/// A line, an area or a dot.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Of the style sheet.
    pub(crate) class: String,
    /// As SVG's `d`.
    pub(crate) path: String,
    /// Says what it is where a pointer rests on it.
    pub(crate) title: String,
}

struct Scale {
    most: f64,
    first: f64,
    last: f64,
}

impl Scale {
    fn x(&self, at: f64) -> f64 {
        let long = (self.last - self.first).max(1.0);
        LEFT + (WIDTH - LEFT - RIGHT) * (at - self.first) / long
    }

    fn y(&self, value: f64) -> f64 {
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - value / self.most)
    }

    fn ticks(&self, unit: Unit) -> Vec<(String, String)> {
        let at = |n: u8| self.most * f64::from(n) / 4.0;
        (0..=4).map(|n| (short(self.y(at(n))), number(unit, at(n)))).collect()
    }

    /// At most eight moments, whole days or hours.
    fn times(&self) -> Vec<(String, String)> {
        const STEPS: [i64; 12] = [1, 2, 3, 6, 12, 24, 48, 168, 336, 720, 2160, 8760];
        let long = self.last - self.first;
        let fits = |hours: &&i64| long / (3600.0 * float(**hours)) <= 8.0;
        let step = 3600 * STEPS.iter().find(fits).unwrap_or(&STEPS[STEPS.len() - 1]);
        let format = if step < 86_400 { "%m-%d %H:%M" } else { "%Y-%m-%d" };
        #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
        let (first, last) = (self.first as i64, self.last as i64);
        let mut times = Vec::new();
        let mut at = first - first.rem_euclid(step) + if first.rem_euclid(step) > 0 { step } else { 0 };
        // A label at the edge would be cut.
        while at < last - step / 4 && times.len() < 12 {
            let label = Timestamp::from_second(at).unwrap_or_default().strftime(format).to_string();
            times.push((short(self.x(float(at))), label));
            at += step;
        }
        times
    }
}

/// A coordinate: a tenth of a unit is as fine as anybody sees.
fn short(value: f64) -> String {
    format!("{value:.1}")
}

/// A number as people read it.
fn number(unit: Unit, value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "seconds of one test or one wait")]
    match unit {
        Unit::Seconds => duration(value.round() as i64),
        Unit::Count if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        Unit::Count => format!("{value:.1}"),
    }
}

/// The least round number that is not below, so that its quarters are round too.
fn round_up(unit: Unit, value: f64) -> f64 {
    const TIMES: [f64; 14] = [
        4.0, 20.0, 60.0, 120.0, 240.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 57_600.0,
        86_400.0,
    ];
    if unit == Unit::Seconds
        && let Some(time) = TIMES.into_iter().find(|time| value <= *time)
    {
        return time;
    }
    let least = if unit == Unit::Seconds { 86_400.0 } else { 4.0 };
    let mut power = least;
    while power * 10.0 < value {
        power *= 10.0;
    }
    [1.0, 2.0, 3.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| power * factor)
        .find(|round| value <= *round)
        .unwrap_or(value)
}

fn greatest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

/// The class of outcomes and faults of the style sheet, or the colour of the line's place.
fn class_of(name: &str, place: usize) -> String {
    match name {
        "pass" | "neutral" | "fail" | "tmpfail" | "error" | "denylisted" | "otherfail" => format!("c-{name}"),
        _ => format!("c{}", place % 10),
    }
}

impl Chart {
    fn of(picture: &Picture, title: &str, note: &str, most: f64) -> (Self, Scale) {
        let first = float(picture.second(0));
        let scale = Scale {
            most: round_up(picture.unit, most),
            first,
            last: float(picture.second(picture.steps().max(1))),
        };
        let format = if picture.step_seconds < 86_400 { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d" };
        let row = |step: usize| {
            let at = Timestamp::from_second(picture.second(step)).unwrap_or_default();
            let values = picture.series.iter().map(|one| match one.values.get(step).copied().flatten() {
                Some(value) => number(picture.unit, value),
                None => "–".to_owned(),
            });
            (at.strftime(format).to_string(), values.collect())
        };
        let chart = Self {
            title: title.to_owned(),
            note: note.to_owned(),
            is_empty: picture.is_empty(),
            shapes: Vec::new(),
            ticks: scale.ticks(picture.unit),
            times: scale.times(),
            legend: picture
                .series
                .iter()
                .enumerate()
                .map(|(place, one)| (class_of(&one.name, place), one.name.clone()))
                .collect(),
            heads: picture.series.iter().map(|one| one.name.clone()).collect(),
            rows: (0..picture.steps()).rev().map(row).collect(),
        };
        (chart, scale)
    }

    /// A line for each name.
    pub(crate) fn lines(picture: &Picture, title: &str, note: &str) -> Self {
        let values = picture.series.iter().flat_map(|one| one.values.iter().flatten().copied());
        let (mut chart, scale) = Self::of(picture, title, note, greatest(values));
        for (place, one) in picture.series.iter().enumerate() {
            let (mut path, mut open) = (String::new(), false);
            for (step, value) in one.values.iter().enumerate() {
                let Some(value) = value else {
                    open = false;
                    continue;
                };
                let at = float(picture.second(step)) + float(picture.step_seconds) / 2.0;
                let (x, y) = (scale.x(at), scale.y(*value));
                // One that stands alone is a dot: a line to itself has round ends.
                let begin = if open { String::new() } else { format!("M{x:.1} {y:.1}") };
                // Writing to a String cannot fail.
                let _ = write!(path, "{begin}L{x:.1} {y:.1}");
                open = true;
            }
            let class = format!("line {}", class_of(&one.name, place));
            chart.shapes.push(Shape { class, path, title: one.name.clone() });
        }
        chart
    }

    /// Bars, one on the other.
    pub(crate) fn stacked(picture: &Picture, title: &str, note: &str) -> Self {
        let sum = |step: usize| -> f64 {
            picture.series.iter().filter_map(|one| one.values.get(step).copied().flatten()).sum()
        };
        let (mut chart, scale) = Self::of(picture, title, note, greatest((0..picture.steps()).map(sum)));
        let mut below = vec![0.0; picture.steps()];
        for (place, one) in picture.series.iter().enumerate() {
            let mut path = String::new();
            for (step, value) in one.values.iter().enumerate() {
                let value = value.unwrap_or_default();
                if value <= 0.0 {
                    continue;
                }
                let left = scale.x(float(picture.second(step)));
                let right = scale.x(float(picture.second(step + 1)));
                let (low, high) = (scale.y(below[step]), scale.y(below[step] + value));
                below[step] += value;
                let gap = if right - left > 3.0 { 0.5 } else { 0.0 };
                let (left, right) = (left + gap, right - gap);
                // Writing to a String cannot fail.
                let _ = write!(path, "M{left:.1} {low:.1}V{high:.1}H{right:.1}V{low:.1}Z");
            }
            let class = format!("area {}", class_of(&one.name, place));
            chart.shapes.push(Shape { class, path, title: one.name.clone() });
        }
        chart
    }

    /// How long each of these results took: a dot each, by its outcome. None where there are too few to see anything.
    pub(crate) fn durations(results: &[ResultItem]) -> Option<Self> {
        let dots: Vec<(i64, &ResultItem)> =
            results.iter().filter_map(|r| Some((r.when?.at().as_second(), r))).collect();
        let first = dots.iter().map(|(at, _)| *at).min()?;
        let last = dots.iter().map(|(at, _)| *at).max()?;
        if dots.len() < 3 || first == last {
            return None;
        }
        let margin = float(last - first) / 50.0;
        let scale = Scale {
            most: round_up(Unit::Seconds, greatest(dots.iter().map(|(_, r)| float(r.seconds)))),
            first: float(first) - margin,
            last: float(last) + margin,
        };
        let shape = |(at, r): &(i64, &ResultItem)| {
            let (x, y) = (scale.x(float(*at)), scale.y(float(r.seconds)));
            Shape {
                class: format!("line dot {}", class_of(r.outcome.word, 0)),
                path: format!("M{x:.1} {y:.1}L{x:.1} {y:.1}"),
                title: format!("{} {} {}", r.outcome.word, r.duration, r.run_id),
            }
        };
        let mut words: Vec<&str> = dots.iter().map(|(_, r)| r.outcome.word).collect();
        words.sort_unstable();
        words.dedup();
        let row = |(at, r): &(i64, &ResultItem)| {
            let at = Timestamp::from_second(*at).unwrap_or_default();
            (at.strftime("%Y-%m-%d %H:%M").to_string(), vec![r.duration.clone(), r.outcome.word.to_owned()])
        };
        Some(Self {
            title: "How long it took".to_owned(),
            note: "The runs of this page.".to_owned(),
            is_empty: false,
            ticks: scale.ticks(Unit::Seconds),
            times: scale.times(),
            shapes: dots.iter().map(shape).collect(),
            legend: words.iter().map(|word| (class_of(word, 0), (*word).to_owned())).collect(),
            heads: vec!["took".to_owned(), "result".to_owned()],
            rows: dots.iter().map(row).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::picture::Series, *};

    fn picture(values: [&[Option<f64>]; 2]) -> Picture {
        let series = ["fail", "amd64"].into_iter().zip(values);
        Picture {
            unit: Unit::Count,
            from: "2026-11-20T00:00:00Z".parse().unwrap(),
            step_seconds: 86_400,
            series: series
                .map(|(name, values)| Series { name: name.to_owned(), values: values.to_vec() })
                .collect(),
        }
    }

    #[test]
    fn a_line_breaks_where_nothing_is_known() {
        let picture = picture([&[Some(1.0), None, Some(4.0)], &[Some(0.0), Some(0.0), Some(0.0)]]);
        let chart = Chart::lines(&picture, "Title", "");
        assert_eq!(chart.shapes[0].path.matches('M').count(), 2, "{}", chart.shapes[0].path);
        assert_eq!(chart.shapes[1].path.matches('M').count(), 1);
        assert_eq!(
            (chart.shapes[0].class.as_str(), chart.shapes[1].class.as_str()),
            ("line c-fail", "line c1")
        );
        assert_eq!(chart.rows[0], ("2026-11-22".to_owned(), vec!["4".to_owned(), "0".to_owned()]));
        assert_eq!(chart.rows[1].1, ["–", "0"]);
        assert!(!chart.is_empty);
    }

    #[test]
    fn bars_stand_on_each_other() {
        let chart = Chart::stacked(&picture([&[Some(1.0)], &[Some(3.0)]]), "Title", "");
        let low = |n: usize| chart.shapes[n].path.split(['V', ' ']).nth(1).unwrap().parse::<f64>().unwrap();
        assert!(low(1) < low(0), "{:?}", chart.shapes);
        assert_eq!(
            chart.ticks.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>(),
            ["0", "1", "2", "3", "4"]
        );
        assert!(Chart::stacked(&picture([&[], &[]]), "Title", "").is_empty);
    }

    #[test]
    fn scales_are_round() {
        for (value, round) in
            [(0.0, 4.0), (4.0, 4.0), (5.0, 8.0), (11.0, 12.0), (399.0, 400.0), (4001.0, 8000.0)]
        {
            assert!(
                (round_up(Unit::Count, value) - round).abs() < 1e-9,
                "{value}: {}",
                round_up(Unit::Count, value)
            );
        }
        for (value, round) in [(0.0, 4.0), (61.0, 120.0), (100_000.0, 172_800.0)] {
            assert!((round_up(Unit::Seconds, value) - round).abs() < 1e-9, "{value}");
        }
        assert_eq!(
            (number(Unit::Seconds, 3600.0), number(Unit::Count, 2.5)),
            ("1 h 00 min".into(), "2.5".into())
        );
    }
}
