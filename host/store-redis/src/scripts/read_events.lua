-- Reads a page of a log.
-- KEYS: the head of the log, its events. ARGV: the sequence to begin with, how many bytes a page has.
-- Returns {attempt, total, whether it has ended, events}, or nothing if there is no log.
local head = redis.pcall('HMGET', KEYS[1], 'attempt', 'total', 'ended')
if head.err then return head end
if not head[1] then return false end
local total = tonumber(head[2])
-- The events were lost, and the head was not.
if redis.call('LLEN', KEYS[2]) ~= total then return false end
local from, page, bytes, full = tonumber(ARGV[1]), {}, 0, false
while from < total and not full do
  local events = redis.call('LRANGE', KEYS[2], from, from + 63)
  for _, event in ipairs(events) do
    bytes = bytes + #event
    full = #page > 0 and bytes > tonumber(ARGV[2])
    if full then break end
    page[#page + 1] = event
  end
  from = from + 64
end
return {tonumber(head[1]), total, tonumber(head[3]), page}
