// There is assembly in the package, as far as the compiler is concerned: functions may have their bodies elsewhere.
