//! The site as other programs see it: readers of its API, feeds and badges, clients of the old site, and a proxy.

mod clients;
mod feeds;
mod openapi;
mod webs;
