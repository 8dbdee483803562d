"""Programs that test_durable.py runs beside itself, each as a process of its own."""
