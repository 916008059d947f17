//! What pages show of the job table and the store: plain values, made once, that templates only lay out.

mod address;
pub(crate) mod chart;
mod job;
mod outcome;
mod picture;
mod python;
mod result;
mod time;
mod verdict;

pub(crate) use address::{
    Crumb, container_path, crumbs, package_path, pair_path, path, ppa_path, release_path, results_path,
    run_path, trigger_path, user_path, words_of,
};
pub(crate) use chart::Chart;
pub(crate) use job::{JobItem, shown_params};
pub(crate) use outcome::Outcome;
pub(crate) use picture::{Axis, Picture, Sums, Unit};
pub(crate) use python::{python_list, python_str};
pub(crate) use result::{Requester, ResultItem, result_path};
pub(crate) use time::{When, duration, size};
pub(crate) use verdict::verdict;
