//! Several hosts on one PostgreSQL, with and without Redis, behind a balancer: a client can't tell which one answered.

mod ends;
mod failures;
mod installation;
mod load;
mod many;
mod one_conversation;
mod round_trips;
mod running_elsewhere;
