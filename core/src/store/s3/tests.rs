//! What a healthy server does not show.
