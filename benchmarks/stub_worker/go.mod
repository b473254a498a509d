module stub-worker

go 1.26
