"""Jobs on all machines of a Ray cluster, where `runtime.engine` says so.

    for outcome in fleet.work(jobs, equip):
        print(outcome.job, outcome.failure or outcome.result)

Each machine, or each GPU, has a `post` (an actor of Ray's) with worker processes as
`cion_core.crew` has them; what kills one of these costs its job a try, as on one machine. The
`fleet` hands jobs to posts, and again if a post is lost; no other module imports ray. `mapped` is
Python's `map` by a fleet.
"""
