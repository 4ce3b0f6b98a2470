mod problem;

fn main() {}
