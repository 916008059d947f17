//! How a metric is declared: one line that holds its field, type, name, labels and buckets, under its help text.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result, core::Collector,
};

/// A kind of metric.
pub(super) trait Metric: Collector + Clone + 'static {
    /// One of this kind, in `registry` where there is one.
    fn declare(
        registry: Option<&Registry>,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Self {
        let metric = Self::make(name, help.trim(), labels, buckets).expect("a constant declaration");
        if let Some(registry) = registry {
            registry.register(Box::new(metric.clone())).expect("a name that is declared once");
        }
        metric
    }

    fn make(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<Self>;
}

macro_rules! kinds {
    ($($kind:ty: |$name:ident, $help:ident, $labels:pat_param, $buckets:pat_param| $make:expr;)+) => {$(
        impl Metric for $kind {
            fn make($name: &str, $help: &str, $labels: &[&str], $buckets: &[f64]) -> Result<Self> {
                $make
            }
        }
    )+};
}

kinds! {
    IntCounter: |name, help, _, _| Self::new(name, help);
    IntCounterVec: |name, help, labels, _| Self::new(Opts::new(name, help), labels);
    IntGauge: |name, help, _, _| Self::new(name, help);
    IntGaugeVec: |name, help, labels, _| Self::new(Opts::new(name, help), labels);
    Histogram: |name, help, _, buckets| Self::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()));
    HistogramVec: |name, help, labels, buckets| Self::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels);
}

/// Declares a struct of metrics: `/// help`, then `field: Kind = "name" [, ["label", …]] [, buckets CONSTANT];`.
macro_rules! metrics {
    ($(#[$doc:meta])+ pub struct $set:ident {$(
        $(#[doc = $help:literal])+
        $field:ident: $kind:ty = $name:literal $(, [$($label:literal),+])? $(, buckets $buckets:expr)?;
    )+}) => {
        $(#[$doc])+
        #[derive(Debug)]
        pub struct $set {
            $($(#[doc = $help])+ pub $field: $kind,)+
        }

        impl $set {
            fn new(registry: Option<&prometheus::Registry>) -> Self {
                use declare::Metric as _;
                Self {$(
                    $field: <$kind>::declare(
                        registry,
                        $name,
                        concat!($($help),+),
                        &[$($($label),+)?],
                        [$($buckets,)? &[]][0],
                    ),
                )+}
            }
        }
    };
}
pub(super) use metrics;
