//! Tests of the whole site: they make data, ask the real router, and read what comes.

mod away;
mod files;
mod headers;
mod listening;
mod pages;
mod privacy;
mod process;
mod published;
mod results;
mod submit;
