//! Several hosts on one PostgreSQL, with and without Redis, behind a balancer: a client can't tell which one answered.

mod consistency;
mod crowded_database;
mod database_away;
mod ends;
mod failover;
mod failures;
mod findings;
mod installation;
mod load;
mod many;
mod one_conversation;
mod planted_faults;
mod replacement;
mod round_trips;
mod running_elsewhere;
mod user;
