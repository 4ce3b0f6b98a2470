//! Makes what is in Redis older, so that no test waits for a time to live.

use std::time::Duration;

use uuid::Uuid;

use super::server::TestServer;

/// Moves the times in all keys of a pattern this many milliseconds into the past. ARGV: the milliseconds, the pattern.
const AGE: &str = r"
local age = tonumber(ARGV[1])
for _, key in ipairs(redis.call('KEYS', ARGV[2])) do
  local left = redis.call('PTTL', key)
  if left < 0 then return redis.error_reply('a key without a time to live: ' .. key) end
  if left <= age then
    redis.call('DEL', key)
  else
    redis.call('PEXPIRE', key, left - age)
    if redis.call('TYPE', key).ok == 'zset' then
      for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -age, member) end
    end
  end
end
return 1
";

/// Makes the places and the logs of turns of an installation this much older, in one server.
///
/// # Panics
/// If a key has no time to live.
pub fn pass_time(server: &TestServer, installation: Uuid, time: Duration) {
    let pattern = format!("masque:v1:{{{installation}*");
    server.command(&["EVAL", AGE, "0", &time.as_millis().to_string(), &pattern]);
}
