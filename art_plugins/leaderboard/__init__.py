"""The leaderboard: every filter and detector that the records hold, beside each other and beside published figures."""
