//! Several hosts on one PostgreSQL, with and without Redis, behind a balancer: a client can't tell which one answered.

mod ends;
mod installation;
mod one_conversation;
mod running_elsewhere;
