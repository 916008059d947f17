//! The web role: pages, files and addresses that people, scripts and gates know (contract "The site").
//!
//! It keeps nothing: it reads the job table and the store, listens to what runs, and takes requests in through the same
//! intake as the dispatcher. Run as many as you like behind any proxy.

mod alerts;
mod api;
mod app;
mod badge;
mod connections;
mod costly;
mod evidence;
mod failure;
mod feeds;
mod files;
mod follow;
mod limits;
mod listener;
mod live;
mod log;
mod pages;
mod private;
mod progress;
mod published;
mod reproduce;
mod results;
mod routes;
mod running;
mod server;
mod settings;
mod shared;
mod statics;
mod submit;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod untrusted;
mod validate;
mod view;
mod wanted;

pub use app::{App, ResponseHook, Web};
pub use routes::router;
pub use server::{Error, Stop, run};
pub use settings::Settings;
