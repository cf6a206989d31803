//! Line charts as SVG, with logarithmic axes: some hundred lines in place of a library with its fonts.

use std::fmt::Write as _;

/// A line with its points.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Its points; those that are not positive are left out.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines over two logarithmic axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// Below the horizontal axis.
    pub x_label: String,
    /// Beside the vertical axis.
    pub y_label: String,
    /// The lines.
    pub series: Vec<Series>,
}

impl Chart {
    /// Draws it. A chart without points has axes and nothing else.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        let x = Axis::over(self.points().map(|(x, _)| x), LEFT, WIDTH - RIGHT);
        let y = Axis::over(self.points().map(|(_, y)| y), HEIGHT - BOTTOM, TOP);
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" fill=\"#222222\">{}</text>\n",
            escaped(&self.title)
        );
        self.axes(&mut out, &x, &y);
        for (index, series) in self.series.iter().enumerate() {
            let colour = COLOURS.get(index % COLOURS.len()).unwrap_or(&"#000000");
            let points: Vec<_> = drawn(series)
                .map(|(px, py)| (x.place(px), y.place(py)))
                .collect();
            let line: Vec<_> = points
                .iter()
                .map(|(px, py)| format!("{px:.1},{py:.1}"))
                .collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join(" ")
            );
            for (px, py) in points {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3.5\" fill=\"{colour}\"/>"
                );
            }
            let at = f64::from(u32::try_from(index).unwrap_or(0)).mul_add(20.0, TOP + 14.0);
            let _ = writeln!(
                out,
                "<rect x=\"{0}\" y=\"{1}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>\
                 <text x=\"{2}\" y=\"{3}\" fill=\"#222222\">{4}</text>",
                WIDTH - RIGHT + 14.0,
                at - 6.0,
                WIDTH - RIGHT + 34.0,
                at,
                escaped(&series.name)
            );
        }
        out.push_str("</svg>\n");
        out
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.series.iter().flat_map(drawn)
    }

    fn axes(&self, out: &mut String, x: &Axis, y: &Axis) {
        let (right, base) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, place) in x.ticks() {
            let _ = writeln!(
                out,
                "<line x1=\"{place:.1}\" y1=\"{TOP}\" x2=\"{place:.1}\" y2=\"{base}\" stroke=\"#dddddd\"/>\
                 <text x=\"{place:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#444444\">{value}</text>",
                base + 18.0
            );
        }
        for (value, place) in y.ticks() {
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" y1=\"{place:.1}\" x2=\"{right}\" y2=\"{place:.1}\" stroke=\"#dddddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444444\">{value}</text>",
                LEFT - 6.0,
                place + 4.0
            );
        }
        let _ = writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#888888\"/>",
            right - LEFT,
            base - TOP
        );
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#222222\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 12.0,
            escaped(&self.x_label)
        );
        let middle = f64::midpoint(TOP, base);
        let _ = writeln!(
            out,
            "<text x=\"16\" y=\"{middle}\" text-anchor=\"middle\" fill=\"#222222\" \
             transform=\"rotate(-90 16 {middle})\">{}</text>",
            escaped(&self.y_label)
        );
    }
}

/// Powers of ten around all values.
#[derive(Debug)]
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            low = low.min(value.log10());
            high = high.max(value.log10());
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // A little room at both ends, so that no point lies on the frame.
        Self {
            low: low - 0.15,
            high: high + 0.15,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        (self.to - self.from).mul_add(share, self.from)
    }

    /// 1, 2 and 5 of every power of ten within the axis; powers alone when it is long.
    fn ticks(&self) -> Vec<(String, f64)> {
        let digits: &[f64] = if self.high - self.low > 3.0 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        (-6..=9)
            .flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(power)))
            .filter(|value| (self.low..=self.high).contains(&value.log10()))
            .map(|value| (written(value), self.place(value)))
            .collect()
    }
}

fn drawn(series: &Series) -> impl Iterator<Item = (f64, f64)> {
    series
        .points
        .iter()
        .copied()
        .filter(|(x, y)| *x > 0.0 && *y > 0.0 && x.is_finite() && y.is_finite())
}

fn written(value: f64) -> String {
    if value >= 1e6 {
        format!("{} M", (value / 1e6).round())
    } else if value >= 1000.0 {
        format!("{} k", (value / 1000.0).round())
    } else if value >= 1.0 {
        format!("{}", value.round())
    } else {
        format!("{value:.3}").trim_end_matches('0').to_owned()
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 210.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 58.0;
/// Told apart by people who see red and green alike, too.
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;

    fn chart(series: Vec<Series>) -> String {
        Chart {
            title: "p99 < 5 × p50 & more".to_owned(),
            x_label: "at once".to_owned(),
            y_label: "exchanges/s".to_owned(),
            series,
        }
        .render()
    }

    fn series(points: &[(f64, f64)]) -> Series {
        Series {
            name: "a <b> & c".to_owned(),
            points: points.to_vec(),
        }
    }

    #[test]
    fn points_lie_where_their_logarithms_say() {
        let svg = chart(vec![series(&[(1.0, 10.0), (10.0, 100.0), (100.0, 1000.0)])]);
        let axis = Axis::over([1.0, 100.0].into_iter(), LEFT, WIDTH - RIGHT);
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        assert!((axis.place(10.0) - middle).abs() < 1e-6);
        assert!(svg.contains(&format!("cx=\"{middle:.1}\"")), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3);
    }

    #[test]
    fn what_has_no_logarithm_is_left_out() {
        let svg = chart(vec![series(&[(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)])]);
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(!chart(Vec::new()).contains("inf"));
    }

    #[test]
    fn other_programs_take_it_for_xml() {
        for svg in [
            chart(vec![series(&[(1.0, 2.0), (3.0, 4.0)])]),
            chart(Vec::new()),
        ] {
            let mut xmllint = Command::new("xmllint")
                .args(["--noout", "-"])
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            xmllint
                .stdin
                .take()
                .unwrap()
                .write_all(svg.as_bytes())
                .unwrap();
            assert!(xmllint.wait().unwrap().success(), "{svg}");
        }
    }
}
