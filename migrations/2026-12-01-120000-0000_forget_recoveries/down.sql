drop index notices_of_recoveries;
