-- Logs may follow one another, and each but the first begins with an entry of this kind: these few
-- are looked for with every head that is judged.
CREATE INDEX log_beginnings ON log (place) WHERE kind = 'log-begun';
