-- A call that rings is rejected, and hung up once it no longer rings: by a second step of its deletion.

-- When a call began to ring that was told of as ringing; null for one that nobody said it of, and for
-- those that were known before: their time to be rejected is over.
ALTER TABLE calls ADD COLUMN rings_since INTEGER;
-- Until when Graph lets it be rejected: 15 s, or 5 s for policy recording. Null once it was answered or
-- has ended.
ALTER TABLE calls ADD COLUMN rings_until INTEGER AS (CASE
    WHEN state = 'incoming' AND ended_at IS NULL AND direction IS NOT 'outgoing'
    THEN rings_since + iif(observed IS NULL, 15000, 5000) END) VIRTUAL;

-- What whoever calls is told of a rejection.
ALTER TABLE steps ADD COLUMN reject_reason TEXT CHECK (reject_reason IN ('none', 'busy', 'forbidden'));
