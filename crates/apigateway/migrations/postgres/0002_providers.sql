-- Driver of the identity provider that vouched for the user of a session; empty after a login with a password.
ALTER TABLE sessions ADD COLUMN provider TEXT NOT NULL DEFAULT '';
