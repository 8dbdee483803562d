"""What tests of more than one unit run on. Take the first of these that the test can do with.

`fakes.memory_source`, `fakes.memory_target`: a fake for each port, with every call counted; for one
    stage.
`move`: a whole move over these fakes, stage by stage and without commands; for what a run writes
    and reports in the end, for kills at any call or journal entry, for changes of another writer.
`world`: the stages and the real HTTP client over the sandbox, without sockets, in virtual time, on
    a disk that can fail; for faults at every step and for hours of waiting. Its parts: `network`
    (HTTP into the sandbox in this thread), `fakes.faulty_disk`, and `fakes.steps` (what a fault
    strikes at).
`running.workbench`: commands in this process against a Qdrant and a sandbox on real sockets; for
    options, exit codes, output, and what the services are asked. It can start a command as a
    process.
`running.site`: commands and the sandbox as real processes; for kills over a large snapshot.

The last two are a `running.workspace`: a --dir, a sandbox's state and the environment. All over the
sandbox share `running.target` (name and size of the index, and what another writer left in it).
`running.target_reader` reads a sandbox's state, and `journal_files` a run's journal, without the
code under test. `fakes.kept_databases` and `fakes.quick_disk` make thousands of runs in one process
cheap; every test has them unless it takes the fixture `real_storage` of `tests/conftest.py`.
`tiers` leaves a part of a long row of cases to `make check`.
"""
