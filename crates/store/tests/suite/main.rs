//! One suite for both databases: every test runs on a SQLite file and on a real PostgreSQL.

mod fixture;

mod cancel;
mod feed;
mod kill;
mod known;
mod leases;

mod lost;
mod migrations;
mod races;
mod rows;
mod shape;
mod totals;
