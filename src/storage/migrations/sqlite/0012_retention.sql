-- What is old is found without reading everything.
CREATE INDEX conversations_by_time ON conversations (updated_at, id);
CREATE INDEX messages_by_time ON messages (created_at, seq);
CREATE INDEX flow_turns_by_time ON flow_turns (created_at);
