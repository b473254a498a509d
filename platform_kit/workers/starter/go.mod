module workers/starter

go 1.26
