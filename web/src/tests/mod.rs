//! Tests of the whole site: they make data, ask the real router, and read what comes.

mod alerts;
mod api;
mod away;
mod feeds;
mod files;
mod headers;
mod limits;
mod listening;
mod lists;
mod logs;
mod pages;
mod privacy;
mod process;
mod published;
mod results;
mod robust;
mod runs;
mod statistics;
mod submit;
mod uploads;
