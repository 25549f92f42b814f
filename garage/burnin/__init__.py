"""`garage admin burn-in`: a garage of its own is used, broken at random and examined after each fault; nothing else is touched."""
